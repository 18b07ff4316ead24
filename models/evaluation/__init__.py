"""What a trained model is worth: on people it has not seen, beside plain features, live, and where there is no pain."""
