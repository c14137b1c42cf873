"""Provider keys of tenants: kept encrypted, shown by their ends alone, tested on request, and opened where a call is made."""
