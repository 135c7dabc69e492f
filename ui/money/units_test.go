package money

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFigures(t *testing.T) {
	of := func(v float64) *float64 { return &v }
	for want, got := range map[string]string{
		"-":            Figure(nil, Watt),
		"0 W":          Figure(of(0), Watt),
		"1400 W":       Figure(of(1400), Watt),
		"1999 W":       Figure(of(1999), Watt),
		"12.3 kW":      Figure(of(12_345), Watt),
		"1980 MHz":     Figure(of(1980), MHz),
		"65 °C":        Figure(of(65), Celsius),
		"-3 °C":        Figure(of(-3), Celsius),
		"2.5%":         Figure(of(2.5), Percent),
		"100%":         Figure(of(99.6), Percent),
		"280/300 W":    FigureOf(of(280), of(300), Watt),
		"280 W":        FigureOf(of(280), nil, Watt),
		"15000/20 MHz": FigureOf(of(15_000), of(20), MHz),
	} {
		require.Equal(t, want, got)
	}
	require.Equal(t, Unknown, FigureOf(nil, of(300), Watt))
}

// worded is a text that writes a unit behind a number by itself.
var worded = regexp.MustCompile(`(^|[^A-Za-z]) ?(W|kW|MHz|°C)$|%[.0-9]*[fdgv] ?(W|kW|MHz|°C)\b`)

// TestUnitsAreWordedHere: no other package of the dashboard and of the verbs writes a unit of its own.
func TestUnitsAreWordedHere(t *testing.T) {
	for _, s := range []string{" W", "°C", "%.0f W", ", %.0f W of", "%d MHz"} {
		require.Regexp(t, worded, s, "it can fail")
	}
	var found []string
	for _, root := range []string{"../../ui", "../../cmd"} {
		require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
				strings.HasPrefix(path, "../../ui/money/") || strings.HasPrefix(path, "../../ui/uitest/") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if ok && lit.Kind == token.STRING && lit.Value != `"W"` /* a key */ && worded.MatchString(strings.Trim(lit.Value, "`\"")) {
					found = append(found, path+": "+lit.Value)
				}
				return true
			})
			return nil
		}))
	}
	require.Empty(t, found)
}

func TestEnergy(t *testing.T) {
	for joules, want := range map[float64]string{36: "0.01 Wh", 3600: "1.0 Wh", 36e3: "10 Wh", 3.6e6: "1.0 kWh", 0: "0.00 Wh"} {
		require.Equal(t, want, Energy(joules))
	}
}
