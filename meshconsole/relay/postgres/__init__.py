"""The event store on PostgreSQL, for hubs that outgrow one machine. Imported only where it is configured."""
