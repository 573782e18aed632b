-- for: content
-- A word that statistics do not know counts as one of every 200 products, and the order of ids would
-- look like a shorter way than the index: they have to know rare ones.
ALTER TABLE product ALTER COLUMN search SET STATISTICS 1000, ALTER COLUMN name SET STATISTICS 1000;
