"""The checks of `hunyuanocr doctor`: each returns a verdict and, if something is wrong, a fix."""
