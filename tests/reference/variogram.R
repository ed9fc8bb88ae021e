# Mean semivariances of normalized residuals of complete data by distance, by nlme.
# Rscript variogram.R ../data variogram.json
library(nlme)
library(jsonlite)
arguments <- commandArgs(trailingOnly = TRUE)
read <- read.csv(file.path(arguments[1], "Orthodont.csv"))
read$Sex <- factor(read$Sex, levels = c("Male", "Female"))
fit <- gls(distance ~ age * Sex, data = read, correlation = corExp(form = ~ age | Subject),
           control = glsControl(tolerance = 1e-10, msTol = 1e-12))
found <- Variogram(fit, form = ~ age | Subject, resType = "normalized")
out <- list(deviance = -2 * as.numeric(logLik(fit)), distance = as.numeric(found$dist), variogram = found$variog,
            n_pairs = found$n.pairs, versions = list(R = R.version.string, nlme = as.character(packageVersion("nlme"))))
writeLines(toJSON(out, digits = 15, auto_unbox = TRUE, pretty = TRUE), arguments[2])
