"""What `hunyuanocr doctor` looks at: each check gives findings, with a verdict and what would mend it."""
