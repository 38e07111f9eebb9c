"""What runs leave: run directories, results, rows, metrics and the tables made of them."""
