package redisconn

import (
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// mask stands for what is, or could be, a secret.
const mask = "***"

// What is shown of a part that is malformed, and so may be a piece of a password: a
// part that looks like one that was only misspelled.
var (
	digits     = regexp.MustCompile(`^[0-9]*$`)
	schemeForm = regexp.MustCompile(`^[a-z][a-z0-9+.-]{0,20}$`)
	wordForm   = regexp.MustCompile(`^[a-z][a-z_]{0,30}$|^-?[0-9]{1,3}$|^[a-z]$`)
	portForm   = regexp.MustCompile(`^[0-9]{0,5}$`)
	numberForm = regexp.MustCompile(`^[+-]?[0-9.]{1,20}[a-zµ]{0,2}$|^[a-z]{1,8}$`)
	hostForm   = regexp.MustCompile(`^[A-Za-z0-9._-]*$`)
)

// shown is a part in quotes if it has the form, and masked otherwise.
func shown(part string, form *regexp.Regexp) string {
	if !form.MatchString(part) {
		return mask
	}
	return `"` + part + `"`
}

// redacted is the address for people to read. It shows what is known to be no
// secret: the scheme, the user of a password, hosts, a database, the path of a
// socket, and the values of the parameters of which it is known. A user without a
// password is often one.
func (a *address) redacted() string {
	var b strings.Builder
	b.WriteString(a.scheme + "://")
	if a.user != nil {
		if password, _ := a.user.Password(); password != "" {
			b.WriteString(url.User(a.user.Username()).String() + ":")
		}
		b.WriteString(mask + "@")
	}
	hosts := make([]string, len(a.hosts))
	for i, h := range a.hosts {
		hosts[i] = redactHost(h)
	}
	b.WriteString(strings.Join(hosts, ",") + a.path)
	sep := "?"
	for _, name := range slices.Sorted(maps.Keys(a.query)) {
		for _, value := range a.query[name] {
			switch {
			case name == "addr":
				value = redactHost(value)
			case parameters[name].secret(), parameters[name].kind != text && !numberForm.MatchString(value):
				value = mask
			default:
				value = url.QueryEscape(value)
			}
			b.WriteString(sep + a.shownParam(name) + "=" + value)
			sep = "&"
		}
	}
	return b.String()
}

// shownParam is the name of a parameter if it is known, or at least a word: an &
// that is not encoded in a password makes the rest of it a parameter.
func (a *address) shownParam(name string) string {
	_, known := parameters[name]
	afterSecret := a.query.Has("password") || a.query.Has("sentinel_password")
	if known || wordForm.MatchString(name) && !afterSecret {
		return name
	}
	return mask
}

// redactHost masks what is no port, since a password without its @ stands there.
func redactHost(h string) string {
	host, port, err := net.SplitHostPort(h)
	switch {
	case err != nil && hostForm.MatchString(h):
		return h
	case err != nil && net.ParseIP(strings.Trim(h, "[]")) != nil:
		return h
	case err != nil, !hostForm.MatchString(host) && net.ParseIP(host) == nil:
		return mask
	case !portForm.MatchString(port):
		port = mask
	}
	return net.JoinHostPort(host, port)
}

// redactText is redacted for a text that may not be a URL at all: then it shows the
// scheme, and masks the rest.
func redactText(raw string) string {
	if a, err := splitAddress(raw); err == nil {
		return a.redacted()
	}
	scheme, _, found := strings.Cut(raw, "://")
	if scheme = strings.ToLower(scheme); found && schemeForm.MatchString(scheme) {
		return scheme + "://" + mask
	}
	return mask
}
