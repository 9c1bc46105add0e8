"""Starting a server, and bounds on what a connection costs before the application sees it."""
