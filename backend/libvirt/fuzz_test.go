package libvirt

import (
	"fmt"
	"testing"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"
)

func FuzzMetadata(f *testing.F) {
	text, _ := domainXML(testPlan(network{kind: netUser}, "qemu"))
	f.Add(text)
	f.Add("<domain><metadata/></domain>")
	f.Add(`<domain><metadata><instance xmlns="urn:berth:libvirt:1"><token>t</token></instance><instance xmlns="urn:berth:libvirt:1"/></metadata></domain>`)
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDomain(s)
		if err != nil {
			return
		}
		_ = d.memoryBytes()
		_, _, _ = devicesOf(s)
		m := d.own()
		if m == nil {
			return
		}
		b := &Backend{}
		b.machine(golibvirt.Domain{ID: 1}, &entry{meta: m, dom: d}, 1, 1, "")
		_, _ = change(s, func(*libvirtxml.Domain, *metadata) error { return nil })
	})
}

func FuzzWithoutOwn(f *testing.F) {
	f.Add(`<a/><instance xmlns="urn:berth:libvirt:1"><token/></instance><b/>`)
	f.Fuzz(func(t *testing.T, s string) {
		out, err := withoutOwn(s)
		if err == nil && len(out) > len(s) {
			t.Fatalf("%q became %q", s, out)
		}
	})
}

func FuzzOutside(f *testing.F) {
	f.Add("qemu+ssh://a@b:1/system?socket=/x")
	f.Add("berth-vm.a.op-1.log")
	f.Add(`{"volume":"x"}`)
	f.Add("[[size]]\nname='a'\nvcpus=1\nmemory='1GiB'")
	f.Add("<domainsnapshot><name>a</name><creationTime>1</creationTime></domainsnapshot>")
	f.Add(fmt.Sprintf(capsText, "", ""))
	f.Fuzz(func(t *testing.T, s string) {
		if u, err := parseURI(s); err == nil {
			_, _ = u.via(), u.sockets()
		}
		if h, tok, kind, ok := parseVolName(s); ok && volName(h, tok, kind) != s {
			t.Fatalf("%q is not %q", volName(h, tok, kind), s)
		}
		if n, err := parseNetwork(s); err == nil {
			if back, err := parseNetwork(n.String()); err != nil || back != n {
				t.Fatalf("%q: %v", s, err)
			}
		}
		_, _ = parseSidecar([]byte(s))
		_, _ = parseSizes([]byte(s), "f")
		_, _ = parseSnapshot(s)
		_, _, _ = parseCapabilities(s)
		_ = prefixes(s)
	})
}
