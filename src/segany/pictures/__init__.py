"""Everything drawn: overlays, cut-outs, contact sheets, plots. Arrays in, arrays or picture files out."""
