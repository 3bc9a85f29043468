"""What is done with samples and features beside `audio`: variations, noises, narrow bands, features for streams."""
