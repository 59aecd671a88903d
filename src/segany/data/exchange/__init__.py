"""Reading the files of other annotation tools: CVAT, Label Studio, LabelMe.

Masks, polygons, boxes and ellipses become masks; points and lines have no area and are left out. Polygons are filled
as COCO fills them, which may differ from a tool's own drawing by pixels along the outline.
"""
