package inspect

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Text is what is known about a text.
type Text struct {
	Words     int
	Sentences int
	Grade     float64 // school years that reading it takes (Flesch-Kincaid, made for English)
	Top       []Count // the most frequent words of more than three letters

	// Alike are the two sentences that differ least, in the order of the text, and
	// Likeness how much of them is the same, from 0 to 1. Empty when there are not
	// two sentences to compare.
	Alike    []string `json:",omitempty"`
	Likeness float64  `json:",omitempty"`
}

// Count is how often a word occurs.
type Count struct {
	Word string
	N    int
}

const (
	topWords = 5

	// Comparing every sentence with every other one is most of the work, and grows
	// with the square of both, so these bound it to some seconds.
	maxCompared = 360 // sentences
	maxRunes    = 160 // of each
)

func readText(ctx context.Context, text string) (*Text, error) {
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && r != '\'' })
	sentences := split(text)
	t := &Text{Words: len(words), Sentences: len(sentences), Top: top(words)}
	if len(words) > 0 && len(sentences) > 0 {
		syllables := 0
		for _, w := range words {
			syllables += countSyllables(w)
		}
		n := float64(len(words))
		t.Grade = max(0, 0.39*n/float64(len(sentences))+11.8*float64(syllables)/n-15.59)
	}
	var err error
	t.Alike, t.Likeness, err = mostAlike(ctx, sentences)
	return t, err
}

func split(text string) []string {
	var sentences []string
	for s := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(".!?", r) }) {
		if s = strings.Join(strings.Fields(s), " "); s != "" {
			sentences = append(sentences, s)
		}
	}
	return sentences
}

func top(words []string) []Count {
	counts := map[string]int{}
	for _, w := range words {
		if len(w) > 3 {
			counts[strings.ToLower(w)]++
		}
	}
	sorted := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var top []Count
	for _, w := range sorted[:min(topWords, len(sorted))] {
		top = append(top, Count{Word: cut(w), N: counts[w]})
	}
	return top
}

// countSyllables counts groups of vowels, which is right for most English words.
func countSyllables(word string) int {
	n, before := 0, false
	for _, r := range strings.ToLower(word) {
		vowel := strings.ContainsRune("aeiouy", r)
		if vowel && !before {
			n++
		}
		before = vowel
	}
	return max(n, 1)
}

// mostAlike finds the two sentences with the smallest edit distance in relation
// to their length.
func mostAlike(ctx context.Context, sentences []string) ([]string, float64, error) {
	var compared [][]rune
	for _, s := range sentences[:min(maxCompared, len(sentences))] {
		compared = append(compared, []rune(cut(s)))
	}
	var alike []string
	best := -1.0
	for i, a := range compared {
		if ctx.Err() != nil { // the job was canceled, or the call's time is over
			return nil, 0, context.Cause(ctx)
		}
		for _, b := range compared[i+1:] {
			likeness := 1 - float64(distance(a, b))/float64(max(len(a), len(b)))
			if likeness > best {
				best, alike = likeness, []string{string(a), string(b)}
			}
		}
	}
	return alike, max(best, 0), nil
}

// cut shortens s to what is compared and shown of it.
func cut(s string) string {
	if r := []rune(s); len(r) > maxRunes {
		return string(r[:maxRunes-1]) + "…"
	}
	return s
}

// distance is the number of insertions, deletions and replacements that make b
// out of a (Levenshtein).
func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, ra := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, rb := range b {
			replace := diagonal
			if ra != rb {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, row[j+1]+1, replace)
		}
	}
	return row[len(b)]
}
