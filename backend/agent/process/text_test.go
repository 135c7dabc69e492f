package process

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzText(f *testing.F) {
	f.Add("plain", "a\xff\xfe\n")
	f.Add("", "\"[ü]")
	f.Fuzz(func(t *testing.T, a, b string) {
		in := Spec{Path: Text(a), Args: Texts{a, b}, Env: Texts{b}}
		text, err := json.Marshal(in)
		require.NoError(t, err)
		var out Spec
		require.NoError(t, json.Unmarshal(text, &out))
		require.Equal(t, in, out)
	})
}
