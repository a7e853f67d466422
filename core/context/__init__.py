"""The input of a model call: the response chain, images and files, and the capabilities that the model must have."""
