"""The steps of the walk, one module each: `NAME`, and `build(ui, walk, number)`, which puts the step on the page."""
