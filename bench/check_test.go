package main

import (
	"slices"
	"strings"
	"testing"
)

// The numbers of a benchmark are worth what its checks are: each of them has to
// see what is wrong.
func TestTheCheckOfAStreamSeesWrongDoubleAndMissingValues(t *testing.T) {
	const n = pageSize + 100 // more than a page, and a page that is not full
	all := make([]int, n)
	for i := range all {
		all[i] = i * i
	}
	slices.Reverse(all)
	for _, test := range []struct {
		name   string
		values []int
		want   string // in the error; none when empty
	}{
		{"every value once", all, ""},
		{"no square", append([]int{2}, all...), "no square"},
		{"a negative number", []int{-1}, "no square"},
		{"a square beyond the end", []int{n * n}, "no square"},
		{"a value twice, in an open page", []int{9, 9}, "came twice"},
		{"a value twice, in a full page", append(slices.Clone(all), 4), "came twice"},
		{"a value missing", all[1:], "want"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var seen squaresSeen
			var err error
			for _, v := range test.values {
				if err = seen.add(v, n); err != nil {
					break
				}
			}
			if err == nil {
				err = seen.complete(n)
			}
			wantError(t, err, test.want)
		})
	}
}

func TestTheCheckOfAMapSeesWrongAndMissingValues(t *testing.T) {
	wantError(t, checkSquares([]int{0, 1, 4}, 3), "")
	wantError(t, checkSquares([]int{0, 1}, 3), "want 3")
	wantError(t, checkSquares([]int{0, 4, 1}, 3), "the square of 1 came back as 4")
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("error %v, want none", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want one with %q", err, want)
	}
}

func TestIntsComeBackFromTheBaselinesBytes(t *testing.T) {
	for _, ns := range [][]int{{0}, {7}, {1, 20, 300}, {999_999_999_999_999_999, 0}} {
		got, err := parseInts(appendInts(nil, ns))
		if err != nil || !slices.Equal(got, ns) {
			t.Errorf("%v came back as %v, error %v", ns, got, err)
		}
	}
	for _, bad := range []string{"", ",", "1,", ",1", "1,,2", "x", "1 2", "-1", "1234567890123456789"} {
		if ns, err := parseInts([]byte(bad)); err == nil {
			t.Errorf("%q was read as %v, want an error", bad, ns)
		}
	}
}
