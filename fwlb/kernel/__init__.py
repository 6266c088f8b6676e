"""The only package that talks to Linux: rules, elements, routes, conntrack, namespaces."""
