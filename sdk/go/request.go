package claimcheck

import (
	"errors"
	"fmt"
)

// Request is what an executor is sent: a plan, and the values of SetSecret beside it.
type Request struct {
	plan plan
	// Values are those of SetSecret, by their names.
	Values map[string][]byte
}

// Plan is the plan's document, as `claimcheck run --plan` takes it.
func (r *Request) Plan() ([]byte, error) { return encode(r.plan) }

// Request is what an executor would be sent for such a result; nothing runs.
func (c Container) Request(want Want) (*Request, error) {
	if c.image == "" {
		return nil, errors.New("the chain has no image to start from")
	}
	if len(c.execs) == 0 {
		return nil, errors.New("the chain runs no command that could have a result")
	}
	request := &Request{plan: plan{Version: 1, Image: c.image, Want: want}, Values: map[string][]byte{}}
	var secrets []*Secret
	for _, each := range c.logins {
		password := registryLogin{each.address, each.username, each.secret.reference}
		request.plan.RegistryAuth = append(request.plan.RegistryAuth, password)
		secrets = append(secrets, each.secret)
	}
	for _, each := range c.execs {
		made, err := each.step()
		if err != nil {
			return nil, err
		}
		request.plan.Steps = append(request.plan.Steps, made)
		secrets = append(secrets, each.secrets()...)
	}
	return request, request.addValues(secrets)
}

func (r *Request) addValues(secrets []*Secret) error {
	seen := map[*Secret]bool{}
	for _, secret := range secrets {
		if secret.value == nil || seen[secret] {
			continue
		}
		if _, there := r.Values[secret.name]; there {
			return fmt.Errorf("two secrets were set with the name %s", secret.name)
		}
		seen[secret] = true
		r.Values[secret.name] = secret.value
	}
	return nil
}

func (m mountedSecret) file() secretFile {
	file := secretFile{Path: m.path, Mode: m.options.Mode, Owner: m.options.Owner}
	switch reference := m.secret.reference.(type) {
	case string:
		file.URI = reference
	case keyedReference:
		file.URI, file.CacheKey = reference.URI, reference.CacheKey
	case valueReference:
		file.Value = reference.Value
	}
	return file
}

func (e exec) secrets() []*Secret {
	var secrets []*Secret
	for _, value := range e.setting.variables {
		if value.secret != nil {
			secrets = append(secrets, value.secret)
		}
	}
	for _, mounted := range e.setting.secretFiles {
		secrets = append(secrets, mounted.secret)
	}
	if e.options.Stdin != nil {
		secrets = append(secrets, e.options.Stdin)
	}
	return secrets
}

// PublishRequest is what an executor would be sent for Publish; nothing runs.
func (c Container) PublishRequest(address string) (*Request, error) {
	request, err := c.Request(WantSync)
	if err == nil {
		request.plan.Publish = address
	}
	return request, err
}
