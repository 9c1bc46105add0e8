"""What the templates ask for; pages of errors are rendered without a context."""
