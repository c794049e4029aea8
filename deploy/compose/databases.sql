-- A database a block: no block can read another's tables.
CREATE DATABASE identity;
CREATE DATABASE signature;
CREATE DATABASE payments;
CREATE DATABASE messaging;
CREATE DATABASE registration;
CREATE DATABASE consent;
