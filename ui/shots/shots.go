package main

func makeShots(string) error { return nil }
