"""What the deployment tests run on: the emulator, the artifacts, the stack."""
