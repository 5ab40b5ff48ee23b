"""The engine llama.cpp: a server of GGUF files, from the wheel xllamacpp."""
