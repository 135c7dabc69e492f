package agent

func afterReboot(o Options) string { return "" }
