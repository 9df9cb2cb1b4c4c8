"""How good labels are: counts of pixels, borders and objects, and the scores made of them."""
