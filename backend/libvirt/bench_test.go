package libvirt

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend"
)

// fleet defines n machines that are off.
func (b *bench) fleet(t testing.TB, n int) {
	t.Helper()
	l := b.d.Connect()
	for i := range n {
		token := fmt.Sprint("op-", i)
		text, err := domainXML(plan{uuid: uuidText(uuidOf(token)), name: "berth-" + token, virtType: "qemu", arch: "x86_64",
			vcpus: 1, memory: 128 << 20, disk: "/d", seed: "/s", log: "/l",
			net: network{kind: netUser}, meta: metadata{Token: token, Home: "h", Name: token, User: "berth", Network: netUser,
				Port: firstPort + i, Tags: tagsOf(map[string]string{backend.TagOp: token})}})
		require.NoError(t, err)
		_, err = l.DomainDefineXML(text)
		require.NoError(t, err)
	}
}

// BenchmarkList200 lists 200 machines of a real libvirtd: first when nothing is known of them, then as a
// daemon does it each time.
func BenchmarkList200(b *testing.B) {
	v := openBare(b)
	v.fleet(b, 200)
	list := func(b *testing.B, be *Backend) {
		all, err := be.List(b.Context())
		require.NoError(b, err)
		require.Len(b, all, 200)
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			be := v.again(b)
			b.StartTimer()
			list(b, be)
			b.StopTimer()
			be.conn.close()
			b.StartTimer()
		}
	})
	b.Run("again", func(b *testing.B) {
		be := v.again(b)
		list(b, be)
		for b.Loop() {
			list(b, be)
		}
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			_, err := v.Get(b.Context(), backend.Ref{Token: "op-7"})
			require.NoError(b, err)
		}
	})
}

// BenchmarkDefine is all of a create from the cache but the start of qemu.
func BenchmarkDefine(b *testing.B) {
	v := openBare(b)
	s := v.spec("empty")
	require.NoError(b, v.Prepare(b.Context(), s, nil))
	for b.Loop() {
		s := v.spec("empty")
		_, err := v.define(b.Context(), s)
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, v.Delete(b.Context(), refOf(s)))
		b.StartTimer()
	}
}
