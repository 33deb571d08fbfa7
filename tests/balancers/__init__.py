"""Tests of keras_univrep.balancers."""
