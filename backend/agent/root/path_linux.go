package root

// ScriptPath is the name by which a script that root runs reads itself.
const ScriptPath = "/proc/self/fd/3"
