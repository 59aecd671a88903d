"""Models as ONNX files for other programs: browsers, services, phones; `folder.export_onnx` is the front door."""
