package job

import "testing"

func TestTaskIDsNameOneDelivery(t *testing.T) {
	for _, d := range []Delivery{{Ref{Name: "a"}, 0, 1}, {Ref{"a.b-c_d", "GEN"}, 12, 34}, {Ref{Name: "1"}, 1, 1}} {
		if got, ok := ParseTaskID(d.TaskID()); !ok || got != d {
			t.Errorf("%s is %+v, %v; want %+v", d.TaskID(), got, ok, d)
		}
	}
	for _, bad := range []string{"", "a", "a:1", "a:0:0", "a:-1:1", "a:01:1", "a:1:1:1", "a:1:x", "a~:1:1", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"} {
		if d, ok := ParseTaskID(bad); ok {
			t.Errorf("%q is %+v", bad, d)
		}
	}
}

func TestDescriptionsAreReadAsTheyAreWritten(t *testing.T) {
	for _, a := range []About{
		{Task: "square", Codec: "json"},
		{Task: "a/b:c", Codec: "gob", Policy: `{"attempts":3}`, Headers: []byte(`{"trace":"x"}`), Start: 5, Sum: "s", Cut: "~20", Sig: "sig"},
	} {
		s, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseAbout(s)
		if err != nil || got.Task != a.Task || got.Codec != a.Codec || got.Policy != a.Policy || string(got.Headers) != string(a.Headers) || got.Sig != a.Sig {
			t.Errorf("%q is %+v, %v; want %+v", s, got, err, a)
		}
	}
	if s, _ := (About{Task: "square", Codec: "json"}).Encode(); s != "1 square" {
		t.Errorf("the usual description is %q", s)
	}
	for _, bad := range []string{"", "1", "2 square", "square", "1 square\n{"} {
		if _, err := ParseAbout(bad); !IsDamaged(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
