package daemon

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"

	"berth/backend"
)

// person is the one principal of a personal workspace: the user that the daemon runs as.
func person() backend.Principal {
	p := backend.Principal{ID: fmt.Sprintf("local:%d", os.Getuid()), Name: fmt.Sprint(os.Getuid()),
		Kind: backend.PrincipalLocal}
	if u, err := user.Current(); err == nil {
		p.Name = u.Username
	}
	return p
}

type principalKey struct{}

// withPrincipal notes who is at the other end of a connection. The listener lets in this user and root alone (ownOnly),
// and root, who could become this user, is the same principal.
func (s *Server) withPrincipal(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, principalKey{}, s.person)
}

// principalOf is who asks: nobody where the connection did not say so.
func principalOf(ctx context.Context) backend.Principal {
	p, _ := ctx.Value(principalKey{}).(backend.Principal)
	return p
}
