package names

import (
	"strings"
	"testing"
)

func TestQueueNamesThatAreFine(t *testing.T) {
	for _, name := range []string{DefaultQueue, "q", "A-z_0.9:/x", strings.Repeat("q", 100)} {
		if err := CheckQueue(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestBadQueueNameIsShownWithTheRule(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"", "is empty"},
		{strings.Repeat("q", 101), "has 101 bytes"},
		{"a b", `"a b" has ' ' in it`},
		{"a{b", `'{' in it`},
		{"a}b", `'}' in it`},
		{"a*", `'*' in it`},
		{"größe", `'ö' in it`},
		{"a\n", `'\n' in it`},
		{"a\xff", `in it`},
		{"a\x00", `'\x00' in it`},
	} {
		err := CheckQueue(tt.name)
		if err == nil {
			t.Errorf("%q is accepted", tt.name)
			continue
		}
		for _, want := range []string{tt.want, "use 1 to 100 ASCII letters"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: error is %q, want %q in it", tt.name, err, want)
			}
		}
	}
}

// The monitor could not show them: a dot or two are a step in the path of a URL.
func TestNamesThatAreStepsOfAPathAreRefused(t *testing.T) {
	for _, name := range []string{".", ".."} {
		for _, err := range []error{CheckJob(name), CheckQueue(name), CheckQueue("a/" + name), CheckQueue(name + "/a")} {
			if err == nil || !strings.Contains(err.Error(), "add a letter or a digit") {
				t.Errorf("%q: error is %v, want a remedy", name, err)
			}
		}
		for _, err := range []error{CheckJob("a" + name), CheckQueue(name + "a"), CheckQueue("a" + name + "/b")} {
			if err != nil {
				t.Error(err)
			}
		}
	}
}

func TestWorkerNamesAreOnePrintableWord(t *testing.T) {
	for _, name := range []string{"", "host-1.example.com", "leader", "ask:x", "{bell}", "Zoë", strings.Repeat("w", 100)} {
		if err := CheckWorker(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		strings.Repeat("w", 101): "has 101 bytes", "a b": "' ' in it", "a\n9 1 x": `'\n' in it`, "a\x1b[2J": `'\x1b' in it`, "a\xff": "in it", "a\u2028": "in it",
	} {
		err := CheckWorker(name)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "printable characters without blanks") {
			t.Errorf("%q: error is %v, want %q and the rule in it", name, err, want)
		}
	}
}

func TestAddressesAreReadAsTheyAreWritten(t *testing.T) {
	for in, want := range map[string]Address{
		"name":         {"mine", "name"},
		"other/name":   {"other", "name"},
		"a/b:c/name.1": {"a/b:c", "name.1"},
	} {
		got, err := ParseAddress(in, "mine")
		if err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", in, got, err, want)
		}
		if again, err := ParseAddress(want.String(), "mine"); err != nil || again != want {
			t.Errorf("%v is read as %+v, %v", want, again, err)
		}
	}
	for _, bad := range []string{"", "/name", "q/", "q/na me", "q/a:b", "q{/a", "a~b", "q~1/a", strings.Repeat("n", 101)} {
		if a, err := ParseAddress(bad, "mine"); err == nil {
			t.Errorf("%q is the address %+v", bad, a)
		}
	}
}
