"""From a finished run to its users: a web page, a model card, a hub, other formats."""
