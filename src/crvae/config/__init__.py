"""What a run is: frozen, validated configuration, a file for each stage."""
