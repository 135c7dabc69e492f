package backend

// PrincipalKind says by what a principal is known.
type PrincipalKind string

// The kinds of principals.
const (
	PrincipalLocal  PrincipalKind = "local"  // a user of this computer, by the kernel's word (a socket's peer)
	PrincipalSystem PrincipalKind = "system" // Berth itself: work that nobody asked for
)

// Principal is who asks: a person, or what acts by itself.
type Principal struct {
	ID   string        // of the kind and within it: "local:1000", "system"
	Name string        // for people
	Kind PrincipalKind // by what it is known
}

// System is Berth itself.
var System = Principal{ID: "system", Name: "berth", Kind: PrincipalSystem}
