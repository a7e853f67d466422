"""The input of a model call: the chain of responses, images and files, and the capabilities the model must have."""
