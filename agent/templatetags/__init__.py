"""What templates ask for. The pages of errors are rendered without a request and without a context."""
