"""The input of a model call: the chain of responses, images and files, and what the model must support."""
