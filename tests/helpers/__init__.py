"""What tests of several folders share; fixtures are in conftest.py."""
