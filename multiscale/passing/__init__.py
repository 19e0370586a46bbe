"""Messages along the relations of the graph: gather, law, scatter; and the PyG operators around them."""
