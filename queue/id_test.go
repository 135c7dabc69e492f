package queue

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIDs(t *testing.T) {
	for s, want := range map[string]ID{
		"12": {Number: 12}, "12_3": {Number: 12, Index: 3, Element: true}, "1_0": {Number: 1, Element: true},
		"9223372036854775807_2147483647": {Number: 1<<63 - 1, Index: MaxIndex, Element: true},
	} {
		got, err := ParseID(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got)
		require.Equal(t, s, got.String())
	}
	for _, s := range []string{"", "0", "-1", "+1", "01", "1_", "_1", "1_-1", "1_01", "1_2_3", "1_2147483648", "x", "1 ", "1.0",
		"9223372036854775808", "１"} {
		_, err := ParseID(s)
		require.Error(t, err, s)
	}
	require.Equal(t, ID{Number: 4}, ID{Number: 4}.At(2).Array())
}

func TestRefs(t *testing.T) {
	name, id, err := ParseRef("vision/12_3")
	require.NoError(t, err)
	require.Equal(t, "vision", name)
	require.Equal(t, ID{Number: 12}.At(3), id)
	name, _, err = ParseRef("12")
	require.NoError(t, err)
	require.Empty(t, name)
	for _, s := range []string{"/12", "vision/", "vision", "vision/x"} {
		_, _, err = ParseRef(s)
		require.Error(t, err, s)
	}
}

func TestIDsInJSON(t *testing.T) {
	b, err := json.Marshal(map[ID][]ID{{Number: 1}: {{Number: 2, Index: 0, Element: true}}})
	require.NoError(t, err)
	require.Equal(t, `{"1":["2_0"]}`, string(b))
	var back map[ID][]ID
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, []ID{{Number: 2, Element: true}}, back[ID{Number: 1}])
	require.Error(t, json.Unmarshal([]byte(`["x"]`), &[]ID{}))
}

func TestAfter(t *testing.T) {
	got, err := ParseAfter("12,13_2,12")
	require.NoError(t, err)
	require.Equal(t, []Dependency{{ID{Number: 12}, Success}, {ID{Number: 13}.At(2), Success}}, got)
	got, err = ParseAfter("any:12,13")
	require.NoError(t, err)
	require.Equal(t, []Dependency{{ID{Number: 12}, Any}, {ID{Number: 13}, Any}}, got)
	require.Equal(t, "any:12", got[0].String())
	got, err = ParseAfterFailure("7")
	require.NoError(t, err)
	require.Equal(t, []Dependency{{ID{Number: 7}, Failure}}, got)
	for _, s := range []string{"", "any:", "12,", "ok:12", "12, 13"} {
		_, err = ParseAfter(s)
		require.Error(t, err, s)
	}
}

func TestBeginsUUID(t *testing.T) {
	const whole = "1a2b3c4d-0011-4223-9344-556677889900"
	for _, n := range []int{8, 9, 13, 36} {
		require.True(t, BeginsUUID(whole[:n]), whole[:n])
	}
	for _, s := range []string{"", "1a2b3c4", whole + "0", "12345678", "1A2B3C4D", "1a2b3c4d0", "1a2b3c-d", "visionary", "12_3"} {
		require.False(t, BeginsUUID(s), s)
	}
	require.True(t, BeginsUUID("12345678-"), "no number")
	require.True(t, IsUUID(whole))
	require.False(t, IsUUID(whole[:35]), "only how it begins")
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"12", "a/12_3", "a/b/1", "", "/", "1_"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, id, err := ParseRef(s)
		require.False(t, err == nil && name == "" && BeginsUUID(s), "a word is a number or a UUID")
		if err != nil {
			return
		}
		back := id.String()
		if name != "" {
			back = name + "/" + back
		}
		require.Equal(t, s, back)
	})
}
