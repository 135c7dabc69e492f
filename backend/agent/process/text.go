package process

import (
	"encoding/json"
	"unicode/utf8"
)

// Text is a string of any bytes: JSON alone would change those that are no UTF-8.
type Text string

// MarshalJSON implements json.Marshaler: a string or, where that can't hold it, a list with its bytes in base64.
func (t Text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal([][]byte{[]byte(t)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		var raw [1][]byte
		err := json.Unmarshal(b, &raw)
		*t = Text(raw[0])
		return err
	}
	return json.Unmarshal(b, (*string)(t))
}

// Texts are strings of any bytes.
type Texts []string

// MarshalJSON implements json.Marshaler.
func (ts Texts) MarshalJSON() ([]byte, error) {
	out := make([]Text, len(ts))
	for i, t := range ts {
		out[i] = Text(t)
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler.
func (ts *Texts) UnmarshalJSON(b []byte) error {
	var in []Text
	err := json.Unmarshal(b, &in)
	*ts = make(Texts, len(in))
	for i, t := range in {
		(*ts)[i] = string(t)
	}
	return err
}
