package claimcheck

import (
	"errors"
	"fmt"
)

// ErrNoPlaintext says why there is no value to be had.
var ErrNoPlaintext = errors.New("a secret has no plaintext in a front end: the executor gets the value when the " +
	"container starts, and only the container sees it")

// Secret is the name of a secret. There is no way from it to the value. What one is worth is known to the broker, and
// in the end to the container.
type Secret struct {
	name      string
	reference any
	value     []byte // What SetSecret was given, on its way to the executor.
}

type keyedReference struct {
	URI      string `json:"uri"`
	CacheKey string `json:"cacheKey"`
}

type valueReference struct {
	Value string `json:"value"`
}

// NewSecret names a secret by its URI: env://NAME, file://PATH, cmd://COMMAND, op://VAULT/ITEM/FIELD, vault://PATH#FIELD, aws+sm://NAME[?field=FIELD], aws+ps://NAME, libsecret://COLLECTION/ITEM.
func NewSecret(uri string) *Secret {
	return &Secret{name: uri, reference: uri}
}

// WithCacheKey gives the secret a name that stands for the value in caches. It is for secrets with a URI.
func (s *Secret) WithCacheKey(key string) *Secret {
	return &Secret{name: s.name, reference: keyedReference{URI: s.name, CacheKey: key}}
}

// SetSecret makes a secret of a value that this program has. It goes to the executor beside the plan, never in it.
func SetSecret(name string, value []byte) *Secret {
	return &Secret{name: name, reference: valueReference{name}, value: append([]byte{}, value...)}
}

// Name is the secret's URI, or the name it was set with.
func (s *Secret) Name() string { return s.name }

// Plaintext always returns ErrNoPlaintext.
func (s *Secret) Plaintext() (string, error) { return "", ErrNoPlaintext }

// Format prints the name, whatever the verb.
func (s *Secret) Format(state fmt.State, _ rune) { fmt.Fprintf(state, "Secret(%s)", s.name) }

// String is the name.
func (s *Secret) String() string { return s.name }

// MarshalText makes encoders write the name.
func (s *Secret) MarshalText() ([]byte, error) { return []byte(s.name), nil }
