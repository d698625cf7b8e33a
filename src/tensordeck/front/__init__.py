"""How calls arrive: the door, gRPC, REST, the gateway, and the APIs of Cloud Storage and OAuth."""
