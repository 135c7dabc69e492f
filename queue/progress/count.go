package progress

import "strings"

// rankOf is the rank of a count behind a word; none: it says nothing.
func rankOf(word string) rank {
	switch strings.TrimSuffix(word, "s") {
	case "fold", "trial", "round", "generation", "episode":
		return folds
	case "epoch", "ep":
		return epochs
	case "step", "iter", "iteration", "batch", "batche", "sample", "item", "file", "frame", "chunk", "game", "task",
		"image", "example", "record", "document", "row", "cell", "tile", "shard", "progre", "processed", "completed",
		"finished", "processing", "rendering", "encoding", "converting", "executing", "simulating", "computing":
		return steps
	}
	return none
}

// percentWord reports whether a percentage behind a word is progress.
func percentWord(word string) bool {
	switch word {
	case "progress", "complete", "completed", "done", "finished", "processed", "processing", "training", "rendering",
		"encoding", "converting", "simulating", "computing":
		return true
	}
	return false
}

// words are the counts and percentages of a line of text, the outermost first.
func words(text string) (out []mark) {
	stage, from := "", 0 // that was named last, and where what may belong to it begins
	for i := 0; i < len(text); i++ {
		if !digit(text[i]) {
			continue
		}
		v, rest, ok := number(text[i:])
		if !ok {
			return out
		}
		end := len(text) - len(rest)
		if i > 0 && (letter(text[i-1]) || strings.IndexByte(".-+/$,\\~", text[i-1]) >= 0) {
			i = end - 1
			continue
		}
		word := wordBefore(text[:i])
		begins := strings.Trim(text[:i], " [(#*|>-") == ""
		follows := stage != "" && strings.Trim(text[from:i], " :-[](,") == ""
		m := mark{label: unnumbered(word), left: -1}
		if n, after, ok := total(rest); ok && n >= 2 && v <= n && v == float64(int64(v)) {
			m.done, m.total, m.rank = v, n, rankOf(word)
			m.begins = strings.Trim(after, " ])") == "" && !strings.HasSuffix(word, "ed") && word != "progress"
			switch {
			case m.rank != none && apart(after):
			case follows && apart(after):
				m.rank, m.stage = steps, stage
			case begins && apart(after) && !clockTime(after):
				m.rank, m.twice = steps, true
			default:
				m.total = 0
			}
			if m.total > 0 {
				m.rate, m.unit = rateIn(after)
				m.left = leftIn(after)
				out = append(out, m)
				stage = ""
			}
			i = len(text) - len(after) - 1
			continue
		}
		after, isPercent := strings.CutPrefix(rest, "%")
		switch {
		case isPercent && v <= 100 && apart(after):
			m.done, m.total, m.rank, m.label = v, 100, steps, "%"+m.label
			next := wordAfter(after)
			switch {
			case len(out) > 0: // the same as its count
				m.total = 0
			case percentWord(word), percentWord(next):
			case follows:
				m.stage = stage
			case begins && word == "":
				m.twice = true
			default:
				m.total = 0
			}
			if m.total > 0 {
				m.rate, m.unit = rateIn(after)
				m.left = leftIn(after)
				out = append(out, m)
			}
			end++
		case rankOf(word) == epochs && (apart(rest) || rest == ""):
			stage, from = strings.TrimRight(text[wordStart(text[:i]):i], " :#=[(")+" "+text[i:end], end
		}
		i = end - 1
	}
	return out
}

// total reads what a count is of: "/10", " of 10", " / 10".
func total(s string) (n float64, rest string, ok bool) {
	for _, sep := range []string{"/", " of ", " / "} {
		if after, found := strings.CutPrefix(s, sep); found {
			return number(strings.TrimLeft(after, " "))
		}
	}
	return 0, s, false
}

// apart reports whether a number ends where s begins.
func apart(s string) bool {
	if s == "" {
		return true
	}
	if s[0] == '.' {
		return len(s) == 1 || s[1] == ' ' || s[1] == '.'
	}
	return strings.IndexByte(" ,;:)]|(", s[0]) >= 0
}

// clockTime reports whether s begins with a time of day: what stands before it is a date.
func clockTime(s string) bool {
	s = strings.TrimLeft(s, " ,")
	return len(s) > 3 && digit(s[0]) && (s[1] == ':' || digit(s[1]) && s[2] == ':')
}

// wordStart is where the word begins that stands before the end of s, with only signs between.
func wordStart(s string) int {
	s = strings.TrimRight(s, " :=#[(")
	if strings.HasSuffix(s, ")") { // Epoch(train)
		s = s[:max(0, strings.LastIndexByte(s, '('))]
	}
	i := len(s)
	for i > 0 && letter(s[i-1]) {
		i--
	}
	if i > 0 && strings.IndexByte("/.-\\", s[i-1]) >= 0 { // a path or an option
		return len(s)
	}
	return i
}

func wordBefore(s string) string { return firstWord(s[wordStart(s):]) }

func wordAfter(s string) string { return firstWord(strings.TrimLeft(s, " ")) }

func firstWord(s string) string {
	n := 0
	for n < len(s) && letter(s[n]) {
		n++
	}
	return strings.ToLower(s[:n])
}
