//! The portal client. Every trap of the Socrata API is the business of this folder and of nobody else.
