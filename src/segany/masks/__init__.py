"""What a mask is: arrays in, arrays out; run lengths, boxes, overlap, suppression, polygons, label maps."""
