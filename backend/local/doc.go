// Package local is the backend of this computer: an instance is a supervised environment, with a
// home folder, an agent and processes of its own. It isolates neither users nor the network, and says
// so. It can also take in this very host with the user's own home (adopt --local).
//
// Where things lie: the instance's files in <data>/<id>/ with the marker that alone lets delete
// remove them (instance.go); what runs in <state>/local/<id>/, the folder of its supervisor (package
// backend/agent/supervise), which starts the agent, ends every process, and deletes. The methods
// of the backend (local.go, change.go) only write down what is wanted and see to it that a
// supervisor lives that does it; state.go tells the state from what is on disk and what lives. So
// every method may be killed at any point, and the next Get or call goes on from there.
package local
