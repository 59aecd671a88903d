"""What must not be seen: finding faces and number plates, blurring them, and keeping back what nobody has cleared."""
