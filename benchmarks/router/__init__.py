"""A classroom at the router: how many people one core serves, how fast, at what cost, and how it takes a storm."""
